"""The guarded HTTP client: public addresses only, with limits on time, size and requests to a host."""
