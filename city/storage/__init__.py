"""All SQL of the product, one module per table family; callers pass connections and get nouns back."""
