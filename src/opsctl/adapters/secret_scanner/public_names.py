"""Names of variables that are public by design. Importing this compiles no expression."""

from __future__ import annotations

PUBLIC_PREFIXES = (
    "NEXT_PUBLIC_", "VITE_", "EXPO_PUBLIC_", "REACT_APP_", "NUXT_PUBLIC_", "GATSBY_", "VUE_APP_",
    "PUBLIC_", "NG_APP_", "STORYBOOK_",
)  # fmt: skip
"""How the names begin that bundlers put into client code on purpose."""
