"""The embedded world: drawn images whose true attributes are known, with captions much like alt-text."""
