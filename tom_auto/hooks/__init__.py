"""The hooks of a TOM: how they are called, and which of them are owed.

| module | what it does |
|---|---|
| `attempts` | Notes that a hook is called once more which a run may not have come to an end of: rule 3 |
| `calls` | Which hooks are the TOM's own, and how they are called: for as long as HOOK_SECONDS allows |
| `owed` | Which saved data products owe hooks, and which records a hook may end a run for: rule 10 |
| `product_hooks` | Runs the hooks for saved data products, and owes those that fail: rule 10 |
"""
