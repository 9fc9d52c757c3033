"""The page of a run: what it shows (`content`), in words (`words`), packed for a browser (`packing`)."""
