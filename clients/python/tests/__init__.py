"""``python3 -m unittest discover -s tests -t .`` in ``clients/python``, or with the package installed anywhere.

The gateway is the program that ``FRAMEGATE`` names, or the one that the wheel carries.
"""
