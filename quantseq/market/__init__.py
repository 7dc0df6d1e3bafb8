"""Where prices come from, how they are kept, and whether they can be trusted.

Owns what a price history is (`bars`), how people's own files are read (`tables`), who delivers prices
(`sources`), where they are kept (`store`), how a download becomes stored bars (`fetching`) and what looks
wrong in them (`health`). Knows no tokens, tensors, forecasts or trades.
"""
