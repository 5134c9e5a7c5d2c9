"""A Chinese address is found down to the room; days, lines and codes are none."""

import pytest

from closedloop.core.privacy import mask


@pytest.mark.parametrize(
    "address",
    [
        # Rooms and floors in all the ways that they are written.
        "重庆市渝北区龙溪街道金龙路260号5幢7-2",
        "朝阳区望京SOHO塔2 B座1810",
        "绿地中心T2座2002室",
        "龙湖天街2期3号楼15层1503号",
        "香港新界沙田沙田正街19号新城市广场三楼",
        "大连市沙河口区西安路98号罗斯福商场B1",
        "贵州省毕节市七星关区碧海街道碧阳大道金海湖小区5-2-302",
        "三亚市吉阳区迎宾路中粮红郡二期11-2-904",
        "中关村软件园8号楼华夏科技大厦4层",
        "新华西街59号通州万达广场4层4206A",
        # Numbers between others, districts without a city, streets without a number of their own.
        "北京朝阳区大屯路甲2号",
        "北京市西城区新华大街甲一号",
        "北京西城区前门煤市街小椿树胡同14、16号",
        "西城区后海北沿47号",
        "北京海淀区北正黄旗58号",
        "北环东路金泰公寓16号",
        "义乌市福田街道商城大道国际商贸城三区68号门",
        "桂林路47号水果店",
    ],
)
def test_an_address_is_found_down_to_the_room(address: str) -> None:
    assert mask(f"地址：{address}，谢谢") == "地址：<ADDRESS>，谢谢"


def test_a_province_within_an_address_is_not_its_start() -> None:
    assert mask("亮马桥路40号上海中心1楼") == "<ADDRESS>"


def test_a_village_and_its_township_are_an_address_where_the_text_says_so() -> None:
    assert mask("地址是九渡河镇撞道口村") == "地址是<ADDRESS>"
    assert mask("乌镇旁边哪个村好玩，2天够吗") == "乌镇旁边哪个村好玩，2天够吗"


@pytest.mark.parametrize(
    "text",
    [
        "取件码3-2-1046打不开",
        "小区5号楼停水了",
        "海淀区12号能送到吗",
        "江宁区发货3号到",
        "个人都知道29号去办",
        "这里15号有活动吗",
        "朝阳区4号线地铁",
    ],
)
def test_days_lines_and_codes_are_no_addresses(text: str) -> None:
    assert mask(text) == text
