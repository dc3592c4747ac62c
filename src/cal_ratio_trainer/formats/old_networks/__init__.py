"""Networks of the earlier program, and of Keras itself, read with care: what their files hold, as a shape and weights.

Nothing of a file is believed: every layer, setting, shape and number is checked, and what is not understood is refused
by the name of its layer. How a run is made of them is not done here.
"""
