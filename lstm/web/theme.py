"""Gradio's plainest theme, with every colour and typeface taken from the names that assets/page.css defines."""

import gradio as gr

_NAMES = {
    "body_background_fill": "var(--paper)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--quiet)",
    "background_fill_primary": "var(--paper)",
    "background_fill_secondary": "var(--paper)",
    "block_background_fill": "transparent",
    "block_label_text_color": "var(--ink)",
    "block_title_text_color": "var(--ink)",
    "block_info_text_color": "var(--quiet)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--leaf)",
    "input_background_fill": "var(--sheet)",
    "input_border_color": "var(--line)",
    "input_border_color_focus": "var(--leaf)",
    "input_placeholder_color": "var(--quiet)",
    "slider_color": "var(--leaf)",
    "checkbox_background_color": "var(--sheet)",
    "checkbox_background_color_selected": "var(--leaf)",
    "checkbox_border_color": "var(--edge)",
    "checkbox_border_color_selected": "var(--leaf)",
    "button_primary_background_fill": "var(--leaf)",
    "button_primary_background_fill_hover": "var(--leaf-deep)",
    "button_primary_text_color": "var(--on-leaf)",
    "button_secondary_background_fill": "transparent",
    "button_secondary_background_fill_hover": "var(--hover)",
    "button_secondary_text_color": "var(--ink)",
    "error_background_fill": "var(--sheet)",
    "error_text_color": "var(--rust)",
}


def theme() -> gr.themes.Base:
    """The same names for light and dark: page.css decides what they stand for."""
    dark = {f"{name}_dark": value for name, value in _NAMES.items()}
    fonts = ["Jungle Sans", "system-ui", "sans-serif"]
    return gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"]).set(**_NAMES, **dark)
