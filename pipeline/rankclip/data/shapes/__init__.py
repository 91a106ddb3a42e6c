"""The embedded world: drawn images whose true attributes are known, with captions in the manner of web alt-text."""
