from site_config.version import VERSION


def version(_request):
    return {"version": VERSION}
