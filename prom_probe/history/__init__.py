"""What happened beside the samples: the processes that lived, events, and the run itself."""
