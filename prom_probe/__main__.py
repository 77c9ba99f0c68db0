"""`python -m prom_probe`: the command line."""

from prom_probe.cli.main import main

if __name__ == "__main__":
    main()
