"""Where prices come from, how they are kept, and whether they can be trusted.

Owns what a price history is (`bars`), when exchanges are open (`calendars`), how people's own files are read
(`readers`), who delivers prices (`sources`, `yahoo`), where they are kept (`store`), how a download becomes stored
bars (`update`) and what looks wrong in them (`health`). Knows no tokens, tensors, forecasts or trades.
"""
