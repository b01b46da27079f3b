"""What the command palette offers: one table, each row naming an action that also has a key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the palette."""

    title: str
    """`area: Verb thing`."""
    help: str
    action: str
    """The action on the app, as a binding would name it."""


COMMANDS = (
    Command("machine: Show", "Devices, findings and how to mend them", "show_mode('machine')"),
    Command("machine: Detect again", "Read the machine again", "detect"),
    Command("plan: Show", "Where everything goes, how fast, and why", "show_mode('plan')"),
    Command("plan: Choose a model", "Plan another model file", "choose_model"),
    Command("plan: Launch", "Start the engine with this plan", "launch"),
    Command("live: Show", "Speed, devices, conversation and log", "show_mode('live')"),
    Command("live: Stop the engine", "Stop what runs", "stop_engine"),
    Command("live: Start again", "Start the same plan again", "restart_engine"),
    Command("view: Change theme", "Dark, light, or one of Textual's", "change_theme"),
    Command("view: Save a picture", "Save this screen as SVG in the current folder", "save_picture"),
    Command("app: Help", "What is on this screen, and every key", "help"),
    Command("app: Quit", "Stop the engine, if one runs, and leave", "quit"),
)
"""Every command, in the order of the views."""
