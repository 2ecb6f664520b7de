"""Pictures whose truth is known: the toy world and the textures with defects. Nothing is downloaded."""
