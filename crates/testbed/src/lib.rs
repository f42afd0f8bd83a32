//! Scripted origins, an in-process proxy and a raw-bytes client.
