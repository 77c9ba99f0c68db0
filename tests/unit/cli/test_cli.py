"""Commands that need no other process, and what all commands have in common."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prom_probe import __version__
from prom_probe.cli.main import COMMANDS, cli, main
from prom_probe.config.settings import FLAGS


def run(*args: str, **environ: str) -> Result:
    """The command's output and exit status, errors as `main` reports them left out."""
    return CliRunner().invoke(cli, args, env=environ, prog_name="prom-probe")


@pytest.mark.parametrize("args", [["--version"], ["version"]])
def test_the_version(args: list[str]) -> None:
    """As a flag and as a command."""
    assert run(*args).output == f"prom-probe {__version__}\n"


def test_help_lists_the_commands() -> None:
    """Each with a sentence of its own."""
    output = run("--help").output
    for command in COMMANDS:
        assert command.help
        assert f"\n  {command.name} " in output


def test_run_has_a_flag_for_every_setting_and_others_show_those_that_they_use() -> None:
    """`serve` and `once` accept the others, so that the flags of a run can be given."""
    flags = {option.flag for option in FLAGS}
    shown = {name: run(name, "--help").output for name in ("run", "serve", "once")}
    assert all(f"{flag} " in shown["run"] or f"{flag}\n" in shown["run"] for flag in flags)
    assert "--query.timeout" in shown["serve"]
    assert "--interval" not in shown["serve"]
    assert "--watch" in shown["once"]
    assert "--query.timeout" not in shown["once"]
    assert "needs --storage.tsdb.path" in str(run("serve", "--interval=2s").exception)


def test_check_config_names_every_fault(tmp_path: Path) -> None:
    """One line each with file, line and key; exit status 2."""
    file = tmp_path / "settings.yaml"
    file.write_text("interval: soon\nquery:\n  timeout: 5s\n  timeot: 5s\n")
    done = run("check-config", str(file))
    assert (done.exit_code, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"prom-probe: {file}: line 1: interval: not a duration")
    assert second == f"prom-probe: {file}: line 4: query.timeot: unknown key"


def test_check_config_says_ok(tmp_path: Path) -> None:
    """And nothing else."""
    file = tmp_path / "settings.yaml"
    file.write_text("interval: 2s\n")
    done = run("check-config", str(file))
    assert (done.exit_code, done.output) == (0, f"{file}: ok\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_calls_the_program(shell: str) -> None:
    """With the variable that click answers to."""
    done = run("completion", shell)
    assert done.exit_code == 0
    assert f"_PROM_PROBE_COMPLETE={shell}_complete" in done.output


def test_flags_complete() -> None:
    """As bash asks for them."""
    done = run(_PROM_PROBE_COMPLETE="bash_complete", COMP_WORDS="prom-probe run --query.t", COMP_CWORD="2")
    assert done.output.split() == ["plain,--query.timeout"]


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["run", "--nonsense"], 2, "(see prom-probe run --help)"),
        (["once", "--interval=0"], 2, "--interval: an interval must be at least 10ms"),
        (["run", "--interval=fast"], 2, "--interval: not a duration such as 500ms, 1s or 1m30s: 'fast'"),
        (["run", "--watch=x"], 2, "--watch: not NAME=pid:NUMBER"),
        (["run", "--web.listen-address=nowhere"], 2, "--web.listen-address: not HOST:PORT"),
        (["run", "--config.file=/nonexistent.yml"], 2, "/nonexistent.yml: No such file"),
        (["query", "x", "--step=1s"], 2, "--step needs --start"),
        (["query", "x", "--start=yesterday"], 2, "--start: neither "),
        (["query", "x", "--url=http://127.0.0.1:1"], 1, "no answer from http://127.0.0.1:1: Connection refused"),
        (["query", "x", "--url=ftp://x"], 2, "neither http://HOST:PORT nor unix:PATH: 'ftp://x'"),
        (["query", "x", "--url=unix:/none"], 1, "no answer from unix:/none: No such file or directory"),
        (["query", "x", "--storage.tsdb.path=/none"], 1, "/none"),
        (["dashboards", "export", "/proc/none"], 1, "/proc/none"),
    ],
)
def test_an_error_is_one_line(args: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with the exit status: 2 for what was asked, 1 for what was found."""
    with pytest.raises(SystemExit) as raised:
        main(args)
    assert raised.value.code == status
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("prom-probe: ")
    assert message in line
    assert said.out == ""
