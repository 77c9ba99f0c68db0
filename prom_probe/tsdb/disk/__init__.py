"""The store on disk: a write-ahead log (WAL) of the heads, and block files; docs/storage.md draws both."""
