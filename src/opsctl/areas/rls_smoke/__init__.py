"""Row-level security, judged by what it does."""
