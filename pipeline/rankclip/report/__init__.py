"""The report of a study: tables, plots and one self-contained page, made from the stages' plain files."""
