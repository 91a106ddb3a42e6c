"""A study's data looked at: counted, listed, shown and verified; nothing here changes them."""
