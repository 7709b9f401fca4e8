import hashlib

from moorage.director.v1.configuration_pb2 import ApiConfiguration, ApplicationConfiguration

from mesh.configuration import application_sha256, content_sha256


def test_an_applications_hash_is_that_of_its_deterministic_serialisation() -> None:
    application = ApplicationConfiguration(application_id="a", apis=[ApiConfiguration(name="orders")])
    expected = hashlib.sha256(application.SerializeToString(deterministic=True)).digest()
    assert application_sha256(application) == expected


def test_the_content_hash_is_over_the_raw_digests_ordered_by_application_id() -> None:
    one, two = bytes(32), b"\x01" * 32
    expected = hashlib.sha256(one + two).hexdigest()
    assert content_sha256({"b": two, "a": one}) == content_sha256({"a": one, "b": two}) == expected


def test_an_empty_configuration_has_the_hash_of_nothing() -> None:
    assert content_sha256({}) == hashlib.sha256().hexdigest()
