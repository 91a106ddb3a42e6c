"""What a person sees of a sweep: a live table, a summary, a page, tables for other programs."""
