"""The store on disk: a write-ahead log of the head, and block files; docs/storage.md draws them."""
