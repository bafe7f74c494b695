"""The words hello-python greets with."""

__version__ = "1.0.0"


def greeting(name, instance):
    return f"Hello from {name}, instance {instance}"
