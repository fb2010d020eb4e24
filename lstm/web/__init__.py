"""The page: layout, guards and frames in Python, the panel in JavaScript and CSS under assets/."""
