"""Whether a finished run can be believed: asked again, made again, counted again."""
