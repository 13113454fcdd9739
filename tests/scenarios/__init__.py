"""What goes wrong, played to the end on the deployed stack: template → local AWS → function processes.

A package, so that its one local AWS ends with it: moto's state is one per process, and other tests start their own.
"""
