"""Files that other code wrote: their contents, layouts, records and task names, and how they are read as models."""
