"""Devices as black boxes: a generated district, scenarios played over MQTT, replay of recorded series.

Nothing here imports the product (``city.settings`` apart), so that a decoder's mistake cannot hide in its own
simulator. What leaves is files of the district's configuration format and messages of the wire contract.
"""
