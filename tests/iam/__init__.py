"""What the roles of template.yaml may do, judged by what their functions really call.

A package, so that its one local AWS ends with it: moto's state is one per process, and other tests start their own.
"""
