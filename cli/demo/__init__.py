"""`moorage demo`: the whole story, from one token to a running configuration, with real parties on this machine."""
