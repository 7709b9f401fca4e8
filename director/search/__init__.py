"""What a List request asks for: which resources, in which order, and which of their fields.

AIP-160, AIP-132 and AIP-157. The SQL of it stands in `director.store`.
"""
