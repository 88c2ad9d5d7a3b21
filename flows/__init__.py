"""When each task runs and how it recovers: one thin file per flow."""
