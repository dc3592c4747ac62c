"""Network files of all formats: written, checked, described on a card, and read with care.

Formats are frugally-deep JSON, Keras, ONNX and the program's own safetensors (`registry`). A file is written from a
list of Keras layers (`layers`), and read as a graph of such layers (`graph`), in which a network is recognised. Not
here: the computation of a network (`network`); which network of a run is meant, and what is known about it (`runs`).
"""
