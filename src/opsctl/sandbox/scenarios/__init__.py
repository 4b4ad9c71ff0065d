"""What a game day practises: each scenario breaks the sandbox and says when it is mended."""
