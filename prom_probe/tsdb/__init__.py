"""The store: rows in the head, compressed blocks behind it, one writer and any number of reading threads."""
