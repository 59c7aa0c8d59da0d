from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=120)
    author = models.CharField(max_length=120, blank=True)
    finished = models.BooleanField(default=False)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["finished", "-added", "-id"]

    def __str__(self):
        return f"{self.title} – {self.author}" if self.author else self.title
