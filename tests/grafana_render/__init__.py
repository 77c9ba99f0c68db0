"""Our dashboards, drawn by Grafana's own packages in a headless chromium."""
