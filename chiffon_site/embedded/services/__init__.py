"""The demo's small service manager: what systemd is on a real host, this is for the sandbox.

A playbook writes a unit file and asks the manager to start it, because nothing that a step starts may outlive the step.
Only the standard library may enter: the manager starts in a moment and idles in a few megabytes.
"""
