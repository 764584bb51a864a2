from edgepack.api.causes import causes


def test_every_code_has_a_sentence():
    listed = causes()
    assert len({cause.code for cause in listed}) > 120
    assert all(cause.what for cause in listed)


def test_what_is_filled_in_is_left_open():
    found = {cause.code: cause for cause in causes()}
    assert found["E232"].what == "there is no package `…`"
    assert found["E232"].fix.startswith("install it")
    assert found["E210"].fix == "take the name that the message suggests"
    assert found["E243"].what.count("; or ") == 1
