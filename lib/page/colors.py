"""The colours of pages and figures, apart from what draws them."""

# Name of a colour on the page -> on light ground, on dark ground. Figures are drawn in the first;
# a page puts the second in its place. Text in either has a contrast of at least 4.5 to its ground.
COLORS = {
    "ground": ("#fdfdfb", "#131716"), "ink": ("#1e2422", "#dbe1de"),
    "soft": ("#5d6763", "#98a39e"), "line": ("#dfe3df", "#2c3431"),
    "shade": ("#f3f5f1", "#1b211f"), "context": ("#a9b2ad", "#59645f"),
    "accent": ("#0a6b4c", "#7ccfa9"), "second": ("#a8440a", "#f0a060"),
    "third": ("#3b5bb5", "#9db4ff"), "warn": ("#8a4b09", "#e0a868"),
}
