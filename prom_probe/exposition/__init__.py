"""The newest samples as the text of `/metrics`, by content type."""
