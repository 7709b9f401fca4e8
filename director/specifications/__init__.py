"""Documents that describe offers: what is known of one, and how it is found out.

Inspecting a large document takes seconds of pure computation, and documents come from outside. So it is done in a child
process (`director.specifications.__main__`), which can be stopped, and which can open neither files nor sockets.
"""
