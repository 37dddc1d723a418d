"""Small networks on small images, which hundreds of trainings can be afforded of."""
