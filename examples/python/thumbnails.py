"""An image server: framegate serve --handler 'python3 thumbnails.py' (pip install pillow)."""

import io

from PIL import Image

from framegate.handler import serve


def thumbnail(topic, key, payload):
    image = Image.open(io.BytesIO(payload)).convert("RGB")
    image.thumbnail((128, 128))
    image.save(out := io.BytesIO(), "JPEG")
    return out.getvalue()


serve(thumbnail)
