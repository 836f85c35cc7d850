"""Scripts of the WebAssembly specification's kind (`.wast`): modules and what must come of them, through the product's loader and both call paths.

`misuse/` holds scripts of our own. `PENSTOCK_WAST=folder[:folder]` runs whatever other scripts lie there, too.
"""
