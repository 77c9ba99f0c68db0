"""The application's own `/metrics` page."""
