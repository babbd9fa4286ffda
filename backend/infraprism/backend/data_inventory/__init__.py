"""What is stored, for how long, and who else gets it, as tables. docs/data-we-collect.md is generated from them."""
