from setuptools import setup

setup(name="lattice", packages=["lattice"])
